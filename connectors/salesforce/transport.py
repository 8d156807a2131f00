"""What a failure below HTTP means: nobody there, no answer in time, a certificate that isn't trusted."""

import requests

from sync.port import SuspendedError, TransientError


def failed_to_reach(error: Exception) -> TransientError | SuspendedError:
    """Return the port's error for a failure of requests or of the system; its own text stays out of it."""
    match error:
        case requests.exceptions.SSLError() if "CERTIFICATE_VERIFY_FAILED" in str(error):
            return SuspendedError("untrusted_certificate", "Salesforce's certificate isn't trusted: set `ca_bundle` to "
                                  "your proxy's or stand-in's CA, or look who answers at `login_url`")  # fmt: skip
        case (
            requests.exceptions.InvalidURL() | requests.exceptions.InvalidSchema() | requests.exceptions.MissingSchema()
        ):
            return SuspendedError("bad_address", "Set `login_url` to an https:// address")
        case requests.exceptions.Timeout():
            return TransientError("timeout", "Salesforce didn't answer in time; it is tried again")
        case requests.RequestException():
            return TransientError("connection", "Salesforce can't be reached; it is tried again")
        case FileNotFoundError() | PermissionError() | IsADirectoryError():
            return SuspendedError("ca_bundle", "The file that `ca_bundle` names can't be read")
        case OSError() if "CA certificate bundle" in str(error):
            return SuspendedError("ca_bundle", "The file that `ca_bundle` names can't be read")
        case _:
            return TransientError("connection", "Salesforce can't be reached; it is tried again")
