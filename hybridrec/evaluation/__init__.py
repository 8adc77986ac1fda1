"""Exact full-catalogue ranking, metrics, passports, significance and reports."""

from hybridrec.evaluation.controls import shuffled_text
from hybridrec.evaluation.page import Failure, page, write_report
from hybridrec.evaluation.protocol import EVERYONE, FULL, PROTOCOLS, SAMPLED, SEQUENTIAL, TRAIN_MASK, Protocol, Sampled
from hybridrec.evaluation.ranking import ScoreError, evaluate
from hybridrec.evaluation.report import Comparison, ComparisonError, compare
from hybridrec.evaluation.result import Result
from hybridrec.evaluation.significance import Difference, differences, holm, over_seeds

__all__ = [
    "EVERYONE",
    "FULL",
    "PROTOCOLS",
    "SAMPLED",
    "SEQUENTIAL",
    "TRAIN_MASK",
    "Comparison",
    "ComparisonError",
    "Difference",
    "Failure",
    "Protocol",
    "Result",
    "Sampled",
    "ScoreError",
    "compare",
    "differences",
    "evaluate",
    "holm",
    "over_seeds",
    "page",
    "shuffled_text",
    "write_report",
]
