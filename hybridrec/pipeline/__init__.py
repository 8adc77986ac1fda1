"""The saved artifact: a trained method with all that is needed to ask it."""

from hybridrec.pipeline.recommender import Recommended, Recommender
from hybridrec.pipeline.search import Faiss, Search
from hybridrec.pipeline.text import TextSide

__all__ = ["Faiss", "Recommended", "Recommender", "Search", "TextSide"]
