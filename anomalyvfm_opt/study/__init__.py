"""From a spec to its studies: read, divide, look at every image, write."""
