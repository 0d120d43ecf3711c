"""Write measurement reports as DICOM structured reports (TID 1500)."""
