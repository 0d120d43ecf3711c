"""Read and write pictures: PNG, JPEG, BMP, TIFF, GIF."""
