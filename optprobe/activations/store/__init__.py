"""Values in memory or in a folder: manifest, shards, matrices, and the labelled rows of one feature and layer."""
