"""The classical methods, with one face: `fit` on parts of a scene, then call on tiles."""

from hsfuse.classical.bayes import Bayes
from hsfuse.classical.cnmf import CNMF
from hsfuse.classical.gsa import GSA
from hsfuse.classical.hysure import HySure
from hsfuse.classical.linear import SubspaceLinear
from hsfuse.classical.mtf_glp import MTFGLP

__all__ = ["CNMF", "GSA", "MTFGLP", "Bayes", "HySure", "SubspaceLinear"]
