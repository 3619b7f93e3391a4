"""Datasets, which are not here: a training recipe names the files on disk."""

from __future__ import annotations

from ._absent import Absent

MsDataset = Absent(
    "msdatasets.MsDataset",
    "download the files (`modelscope download --dataset NAME`) and name them under [data] in a recipe of "
    "mplug_rs.train.run or `mplug train`; a CSV file with the columns image:FILE and answer:Value is read as it is",
)

__all__ = ["MsDataset"]
