"""What can be told of a config before torch is imported: its classes and their arguments, the machine, files, the data.

A mistake is told within a second or two, and before a folder is made, anything is downloaded or a net is built. What is
found here is checked again by the code that uses it; here stands only what a user would otherwise wait for.
"""
