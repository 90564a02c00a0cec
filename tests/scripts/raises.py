"""Raises out of a function of its own."""


def look_for(receiver):
    raise ValueError(f"no such receiver: {receiver}")


def main(receiver="SKA999"):
    look_for(receiver)


def nothing():
    pass


def text_of_many_alphabets():
    raise ValueError("Größe Ω 望遠鏡")
