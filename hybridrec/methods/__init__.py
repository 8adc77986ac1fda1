"""One file a paper. A method wires parts together; it inherits from no other."""

from hybridrec.methods.autocf import AutoCF
from hybridrec.methods.bspm import BSPM
from hybridrec.methods.dccf import DCCF
from hybridrec.methods.diffrec import DiffRec
from hybridrec.methods.directau import DirectAU
from hybridrec.methods.flowcf import FlowCF
from hybridrec.methods.hccf import HCCF
from hybridrec.methods.lightgcl import LightGCL
from hybridrec.methods.lightgcn import LightGCN
from hybridrec.methods.ncl import NCL
from hybridrec.methods.sgl import SGL
from hybridrec.methods.simgcl import SimGCL
from hybridrec.methods.xsimgcl import XSimGCL

__all__ = [
    "BSPM",
    "DCCF",
    "HCCF",
    "NCL",
    "SGL",
    "AutoCF",
    "DiffRec",
    "DirectAU",
    "FlowCF",
    "LightGCL",
    "LightGCN",
    "SimGCL",
    "XSimGCL",
]
