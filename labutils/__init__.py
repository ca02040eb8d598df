"""labutils: why an image classifier said what it said, and whether the answer can be trusted.

The rooms, in the order in which they may import one another:
``photos``, ``vgg16``, ``vit`` -> ``explain`` -> ``evaluate`` -> ``plots`` -> ``widgets`` -> ``course`` -> ``cli``.
"""

__version__ = "0.1.0"
