"""Compose files to configurations of ours, with a word on everything that is not the same here."""

from ._convert import Converted as Converted
from ._convert import import_compose as import_compose
