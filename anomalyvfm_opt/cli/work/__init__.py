"""A worker on its host: signals, device, images, backbones, the workbench of its trials, and its day."""
