"""What `--paging` takes; apart, for the launcher shows it whatever its command, and needs nothing else from here."""

FORMS = (
    "none",
    "page:PARAMETER:PATH of the number of pages",
    "page:PARAMETER:SIZE_PARAMETER=N",
    "offset:PARAMETER:SIZE_PARAMETER=N",
    "token:PARAMETER:PATH of the token",
    "cursor:PARAMETER:FIELD of the last record",
    "link:PATH of the link",
    "link:header",
)
