"""What objects derived from a DICOM scan (SEG, RTSTRUCT, SR) have in common: identity, sources, header, coded terms."""
