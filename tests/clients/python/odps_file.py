"""Lists the tables of a MaxCompute project with pyodps, which reads its credentials from a file, and lists them again
for each `again` line on standard input.

Usage: odps_file.py ENDPOINT PROJECT [REGION], with ODPS_STS_ACCOUNT_FILE in the environment.
"""

import json
import sys

from odps import ODPS


def main(endpoint, project, region=None):
    odps = ODPS(endpoint=endpoint, project=project, region_name=region)

    def list_tables():
        print(json.dumps([table.name for table in odps.list_tables()]), flush=True)

    list_tables()
    for line in sys.stdin:
        if line.strip() == "again":
            list_tables()


if __name__ == "__main__":
    main(*sys.argv[1:])
