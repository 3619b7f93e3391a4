"""Datasets: rows of named columns, from files of this machine or of ModelScope's hub."""

from __future__ import annotations

from .ms_dataset import MsDataset

__all__ = ["MsDataset"]
