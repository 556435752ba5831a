"""The command ``ser predict``: a trained system on files, folders and tables of recordings, a row a part."""
