"""`oet check`: how scripts would fare, without anything of them being called."""
