"""Image volumes, labels and masks: reading and writing them, regions, connected components, surface meshes."""
