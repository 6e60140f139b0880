"""A trained detector that stands alone: its folder, and what it says of images.

Nothing here knows a database, a study or the images that a detector was trained on.
"""
