"""The exercises, one module a notebook: ``nb02_class_activation_maps`` holds ``EXERCISES`` for ``02.*`` in order."""
