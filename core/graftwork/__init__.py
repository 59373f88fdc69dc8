"""Graftwork: transfer learning of image classifiers, with the evidence whether it helped."""

__version__ = "0.1.0"
