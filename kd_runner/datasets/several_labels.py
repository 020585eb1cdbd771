"""The functions of `labels.multi_label`, under the name that data sets of other packages import them by."""

from kd_runner.datasets.labels.multi_label import label_matrix, labels_of_array, names_in_cell

__all__ = ["label_matrix", "labels_of_array", "names_in_cell"]
