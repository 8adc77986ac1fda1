"""Input data: typed relations, the folder format, named sources, splits and samplers."""
