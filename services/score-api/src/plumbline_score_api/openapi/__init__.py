"""The OpenAPI document: made whole from the routes, compared with the released one."""
