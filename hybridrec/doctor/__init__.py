"""What is the matter with a data set: statistics and findings with remedies, of a folder that loads or of one that does not."""

from hybridrec.doctor.checkup import Checkup, examine
from hybridrec.doctor.reading import Finding

__all__ = ["Checkup", "Finding", "examine"]
