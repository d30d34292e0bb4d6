class FileSystemBase:
    pass


class FileSystemReader:
    pass


class FileSystemWriter:
    pass
