"""A test range: captures of an international router, with and without an implant, and the truth for each frame.

>>> from tapsight.lab import Confounder, Implant, Scenario, generate
>>> generate(Scenario(implants=(Implant("mirror"),), confounders=(Confounder("nat"),)), "range")
"""

from tapsight.lab.dials import Confounder, Implant
from tapsight.lab.scenario import Generated, Scenario, generate

__all__ = ["Confounder", "Generated", "Implant", "Scenario", "generate"]
