"""What training strategies ask for: the parallelism vocabulary, sizes, specs and the meshes made of them."""
