"""One file a paper. A method wires parts together; it inherits from no other."""

from hybridrec.methods.lightgcn import LightGCN

__all__ = ["LightGCN"]
