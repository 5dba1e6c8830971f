"""Predictions made by other programs, read from CSV, Parquet or NPZ and reduced to scores per image.

A prediction file has one row per image, in any order, with

- ``id`` (or ``index``): whole numbers or text, unique;
- the model's answer, one of: ``pred``, a class, optionally with its ``confidence``; ``prob_CLASS`` for each class;
  ``logit_CLASS`` for each class; in Parquet also one list column ``probs`` or ``logits``; in NPZ also one array
  ``probs`` or ``logits`` of shape (N, K);
- optionally ``label``, the true class.

A label file has ``id`` and ``label``, and may have a column such as ``patient`` that says which images belong together
(``clusters``). CLASS is a name or a number counted from 0; lists and arrays are numbered.
Rows are matched by id; ``label`` and ``pred`` are matched with the classes by name, else as numbers. Every match
uses one spelling (``names``): text in Unicode's composed form without the spaces around it, classes that are
numbers by their value. Ids that are all numbers match by value where their text does not,
so that ``0012`` finds 12.
"""

from stress_lab.prediction_files.clusters import read_clusters
from stress_lab.prediction_files.reading import PredictionFile, read_prediction_files

__all__ = ["PredictionFile", "read_clusters", "read_prediction_files"]
