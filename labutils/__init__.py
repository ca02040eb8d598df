"""labutils: why an image classifier said what it said, and whether the answer can be trusted.

The rooms, in the order in which they may import one another:
``downloads``, ``weights``, ``photos``, ``vgg16``, ``vit`` -> ``explain`` -> ``evaluate`` -> ``plots`` -> ``report`` ->
``widgets`` -> ``course`` -> ``doctor`` -> ``cli``. ``training`` stands beside them.
"""

__version__ = "0.1.0"
