"""Folders of images: archives that are unpacked, and how names of folders become splits and classes."""
