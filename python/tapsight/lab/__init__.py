"""A test range: captures of an international router, with and without an implant, and the truth for each frame.

>>> from tapsight.lab import Implant, Scenario, generate
>>> generate(Scenario(implants=(Implant("mirror"),)), "range")
"""

from tapsight.lab.router import Implant
from tapsight.lab.scenario import Generated, Scenario, generate

__all__ = ["Generated", "Implant", "Scenario", "generate"]
