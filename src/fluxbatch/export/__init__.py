"""A dataset in the form in which others take it: Hugging Face's Parquet, WebDataset, imagefolder, CSV, plain files."""
