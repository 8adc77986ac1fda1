"""Closed-form and classic recommenders: the honest opponents."""

from hybridrec.baselines.addease import AddEASE
from hybridrec.baselines.cease import CEASE
from hybridrec.baselines.ease import EASE
from hybridrec.baselines.edlae import EDLAE
from hybridrec.baselines.gfcf import GFCF
from hybridrec.baselines.ials import IALS
from hybridrec.baselines.itemknn import ItemKNN
from hybridrec.baselines.krylov import KrylovEASE
from hybridrec.baselines.l3ae import L3AE
from hybridrec.baselines.popularity import Popularity
from hybridrec.baselines.puresvd import PureSVD

__all__ = ["CEASE", "EASE", "EDLAE", "GFCF", "IALS", "L3AE", "AddEASE", "ItemKNN", "KrylovEASE", "Popularity", "PureSVD"]
