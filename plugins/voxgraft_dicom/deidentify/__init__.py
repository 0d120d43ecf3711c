"""Take what identifies a patient out of DICOM files, by the basic confidentiality profile (PS3.15)."""
