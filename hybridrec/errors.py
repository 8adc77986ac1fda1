"""The errors hybridrec raises on purpose. Each names the culprit, what was wanted and what to do."""


class HybridrecError(Exception):
    """Any error raised on purpose by hybridrec."""


class DataError(HybridrecError, ValueError):
    """Input data that cannot be used: says which file, column and row, and the remedy."""


class DataWarning(UserWarning):
    """Input data that can be used but is not as one would expect: says what was found and what was done."""


class ArtifactError(HybridrecError, ValueError):
    """A saved method or Recommender that is incomplete, altered or not ours."""


class ArgumentError(HybridrecError, ValueError):
    """An argument outside the range it has a meaning in: says which range and what was given."""


class QueryError(HybridrecError, ValueError):
    """A request for recommendations that has no answer: unknown ids, an empty prompt, an impossible k."""
