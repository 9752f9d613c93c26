"""May it be spent?"""
