"""One file a paper. A method wires parts together; it inherits from no other."""

from hybridrec.methods.acvae import ACVAE
from hybridrec.methods.adagcl import AdaGCL
from hybridrec.methods.amf import AMF
from hybridrec.methods.asarrec import AsarRec
from hybridrec.methods.autocf import AutoCF
from hybridrec.methods.bert4rec import BERT4Rec
from hybridrec.methods.bspm import BSPM
from hybridrec.methods.buir import BUIR
from hybridrec.methods.cdae import CDAE
from hybridrec.methods.cfgan import CFGAN
from hybridrec.methods.cl4srec import CL4SRec
from hybridrec.methods.dccf import DCCF
from hybridrec.methods.diffrec import DiffRec
from hybridrec.methods.diffuasr import DiffuASR
from hybridrec.methods.diffurec import DiffuRec
from hybridrec.methods.diffusionprior import DiffusionPrior
from hybridrec.methods.directau import DirectAU
from hybridrec.methods.duorec import DuoRec
from hybridrec.methods.egln import EGLN
from hybridrec.methods.flowcf import FlowCF
from hybridrec.methods.gformer import GFormer
from hybridrec.methods.hccf import HCCF
from hybridrec.methods.hybrid import Hybrid
from hybridrec.methods.iclrec import ICLRec
from hybridrec.methods.irgan import IRGAN
from hybridrec.methods.ldiffrec import LDiffRec
from hybridrec.methods.lightgcl import LightGCL
from hybridrec.methods.lightgcn import LightGCN
from hybridrec.methods.maerec import MAERec
from hybridrec.methods.maskedbranch import MaskedBranch
from hybridrec.methods.mfgan import MFGAN
from hybridrec.methods.multvae import MultVAE
from hybridrec.methods.ncl import NCL
from hybridrec.methods.recdcl import RecDCL
from hybridrec.methods.recvae import RecVAE
from hybridrec.methods.rlmrec import RLMRec, RLMRecGen
from hybridrec.methods.s3rec import S3Rec
from hybridrec.methods.sasrec import SASRec
from hybridrec.methods.selfcf import SelfCF
from hybridrec.methods.sgl import SGL
from hybridrec.methods.simgcl import SimGCL
from hybridrec.methods.simplex import SimpleX
from hybridrec.methods.tiedsasrec import TiedSASRec
from hybridrec.methods.xsimgcl import XSimGCL

__all__ = [
    "ACVAE",
    "AMF",
    "BSPM",
    "BUIR",
    "CDAE",
    "CFGAN",
    "DCCF",
    "EGLN",
    "HCCF",
    "IRGAN",
    "MFGAN",
    "NCL",
    "SGL",
    "AdaGCL",
    "AsarRec",
    "AutoCF",
    "BERT4Rec",
    "CL4SRec",
    "DiffRec",
    "DiffuASR",
    "DiffuRec",
    "DiffusionPrior",
    "DirectAU",
    "DuoRec",
    "FlowCF",
    "GFormer",
    "Hybrid",
    "ICLRec",
    "LDiffRec",
    "LightGCL",
    "LightGCN",
    "MAERec",
    "MaskedBranch",
    "MultVAE",
    "RLMRec",
    "RLMRecGen",
    "RecDCL",
    "RecVAE",
    "S3Rec",
    "SASRec",
    "SelfCF",
    "SimGCL",
    "SimpleX",
    "TiedSASRec",
    "XSimGCL",
]
