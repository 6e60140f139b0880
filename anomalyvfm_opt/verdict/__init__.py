"""Is a gain real, and what could be seen at all?"""
