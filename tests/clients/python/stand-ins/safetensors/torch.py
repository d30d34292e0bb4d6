_TYPES = {}
_SIZE = {}
