"""The judgement of a data set: one file for each kind of fault that is looked for."""
