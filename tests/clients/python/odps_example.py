"""Lists the tables of a MaxCompute project with pyodps, the way the documentation of PAI shows it.

Usage: odps_example.py ENDPOINT PROJECT [REGION]; pyodps signs with V4 when it knows a region, otherwise with V2.
"""

import json
import sys

from alibabacloud_credentials.client import Client
from odps import ODPS
from odps.accounts import CredentialProviderAccount


def main(endpoint, project, region=None):
    account = CredentialProviderAccount(Client())
    odps = ODPS(account=account, project=project, endpoint=endpoint, region_name=region)
    print(json.dumps([table.name for table in odps.list_tables()]))


if __name__ == "__main__":
    main(*sys.argv[1:])
