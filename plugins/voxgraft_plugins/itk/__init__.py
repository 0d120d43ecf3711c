"""Read and write NRRD, MetaImage, MINC and Analyze images through SimpleITK."""
