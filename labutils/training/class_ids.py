"""WordNet ids of everyday classes, as ImageNet writes them, so that decoded predictions look as Keras users expect."""

WORDNET_IDS = {
    "airplane": "n02691156",
    "backpack": "n02769748",
    "ball": "n02778669",
    "bicycle": "n02834778",
    "boat": "n02858304",
    "brass_instrument": "n02891188",
    "butterfly": "n02274259",
    "camera": "n02942699",
    "car": "n02958343",
    "carton": "n02971356",
    "cat": "n02121620",
    "chair": "n03001627",
    "cup": "n03147509",
    "dog": "n02084071",
    "dress": "n03236735",
    "elephant": "n02503517",
    "flower": "n11669921",
    "fruit": "n13134947",
    "guitar": "n03467517",
    "hat": "n03497657",
    "helicopter": "n03512147",
    "laptop": "n03642806",
    "motorbike": "n03790512",
    "person": "n00007846",
    "piano": "n03928116",
    "pizza": "n07873807",
    "shirt": "n04197391",
    "shoe": "n04199027",
    "trousers": "n04489008",
    "umbrella": "n04507155",
    "vegetable": "n07707451",
    "watch": "n04555897",
}


def class_id(name: str) -> str:
    """The WordNet id of a class, or its own name where it is none of the known ones."""
    return WORDNET_IDS.get(name, name)
