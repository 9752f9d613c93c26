"""When is it sent, and when again?"""
