"""HTTP stand-ins of the Salesforce and ServiceNow APIs, for the local stack and the tests."""
