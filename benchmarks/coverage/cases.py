"""All cases of the coverage run."""

import denoisers
import flows
import language
import layers
import wrapped
from case import Case


def cases() -> list[Case]:
    """Return the rows of the table in their order."""
    families = (layers, wrapped, flows, language, denoisers)
    return [case for family in families for case in family.cases()]
