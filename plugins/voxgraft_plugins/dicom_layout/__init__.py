"""A tree of DICOM series as a data set."""
